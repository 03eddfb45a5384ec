"""A source of sound or of pictures that a task of its own feeds: what a caller publishes."""

import asyncio
from abc import ABC, abstractmethod
from typing import Generic, Self, TypeVar

from livekit import rtc

Source = TypeVar("Source", rtc.AudioSource, rtc.VideoSource)


class FedSource(ABC, Generic[Source]):
    """Is fed while the block lasts, and closed after it."""

    def __init__(self, source: Source, name: str) -> None:
        self._source: Source = source
        self._name = name
        self._feeding: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._feeding = asyncio.create_task(self._feed(), name=self._name)
        return self

    async def __aexit__(self, *exception: object) -> None:
        assert self._feeding is not None
        self._feeding.cancel()
        await asyncio.wait({self._feeding})
        await self._source.aclose()

    @abstractmethod
    async def _feed(self) -> None:
        """Until it is cancelled."""
