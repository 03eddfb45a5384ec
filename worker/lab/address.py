"""Where a caller calls from, and whom."""

from dataclasses import dataclass

from livekit import api


@dataclass(frozen=True, slots=True)
class Address:
    """Which LiveKit, and whom to ask for there; no `agent_name` asks for whoever is not named. A
    `telephone` is the number of a caller whom LiveKit's SIP bridge has brought into the room.
    """

    url: str
    api_key: str
    api_secret: str
    agent_name: str
    room: str
    identity: str
    telephone: str = ""

    def token(self) -> str:
        """What lets the caller into the room. A telephone's is as the SIP bridge makes it:
        https://docs.livekit.io/reference/telephony/sip-participant/
        """
        grants = api.VideoGrants(room_join=True, room=self.room)
        token = api.AccessToken(self.api_key, self.api_secret).with_identity(self.identity)
        token = token.with_name("caller").with_grants(grants)
        if self.telephone:
            attributes = {
                "sip.callID": "SCL_lab",
                "sip.callStatus": "active",
                "sip.phoneNumber": self.telephone,
                "sip.trunkID": "ST_lab",
            }
            token = token.with_kind("sip").with_attributes(attributes)
        return token.to_jwt()
