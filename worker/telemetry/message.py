"""What every message between a call and its pod is made of."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

# A line longer than this is no message of ours.
LONGEST_LINE_BYTES = 64 * 1024
LONGEST_TEXT = 4096
LONGEST_IDENTIFIER = 256

Text = Annotated[str, Field(max_length=LONGEST_TEXT)]
Identifier = Annotated[str, Field(max_length=LONGEST_IDENTIFIER)]
Seconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=0)]


class Message(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)
