"""What the echo agent and its callers say."""

GREETING = "Welcome to the echo."
ANSWER = "That is all I can say today, but I say it to everybody who talks to me."
QUESTIONS = ("What can you tell me?", "Excuse me, is there anything else?")
