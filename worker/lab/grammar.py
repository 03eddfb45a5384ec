"""What pocketsphinx listens for: any sequence of the sentences of a script, the last of which may
break off.
"""

from collections.abc import Iterator, Sequence

import pocketsphinx

from worker.lab import pronunciation

SAMPLE_RATE = 16_000

# A sentence may break off only where nothing better explains the sound.
CUT_PROBABILITY = 0.01

# Where the channel's mean begins (it then follows the sound), measured on espeak-ng: with the
# model's own values the first sentence of a call was often missed.
CHANNEL_MEAN = "54,1.2,-5.2,17.5,-14.1,-4.5,3.0,-12.0,-5.0,-9.8,4.3,-4.6,-4.9"

Transition = tuple[int, int, float] | tuple[int, int, float, str]


def decoder(sentences: Sequence[Sequence[str]]) -> pocketsphinx.Decoder:
    """Its words are places in the script ("3.2": sentence 3, word 2), so a result needs no search.

    :raises UsageError: if a word cannot be pronounced.
    """
    made = pocketsphinx.Decoder(
        hmm=pocketsphinx.get_model_path("en-us/en-us"),
        dict=None,
        lm=None,
        samprate=SAMPLE_RATE,
        cmn="live",
        cmninit=CHANNEL_MEAN,
        bestpath=False,
        loglevel="FATAL",
    )
    for sentence, words in enumerate(sentences):
        for word, token in enumerate(words):
            for variant, phones in enumerate(pronunciation.of_token(token), start=1):
                suffix = f"({variant})" if variant > 1 else ""
                made.add_word(f"{sentence}.{word}{suffix}", phones, False)
    made.add_fsg("script", made.create_fsg("script", 0, 1, list(_transitions(sentences))))
    made.activate_search("script")
    return made


def _transitions(sentences: Sequence[Sequence[str]]) -> Iterator[Transition]:
    """From state, to state, probability, word. Every sentence begins and ends in state 0; the
    utterance ends in state 1.
    """
    yield 0, 1, 1.0
    state = 1
    for sentence, words in enumerate(sentences):
        here, likely = 0, 1 / len(sentences)
        for word in range(len(words) - 1):
            state += 1
            yield here, state, likely, f"{sentence}.{word}"
            yield state, 1, CUT_PROBABILITY
            here, likely = state, 1.0
        yield here, 0, likely, f"{sentence}.{len(words) - 1}"
