"""Who hears, thinks and speaks: LiveKit's unmodified plugins, chosen and chained by settings.

Variants are tables of builders (`stt`, `llm`, `tts`, `turns`); `session` puts them together for an
agent file. Runs in job processes, and in the preflight. No prompts, no tools, no protocol code:
that is the plugins'.
"""
