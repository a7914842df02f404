"""Why a request is not answered: a status and one line that names the culprit and the way out."""

from collections.abc import Mapping

from triune.files import on_one_line


class Refused(Exception):
    """A request that is not answered.

    Args:
        status: of HTTP.
        reason: one line for people.
        image: the place of the image that is to blame among those of the request, from 0, where one is.
        headers: that go with it.
    """

    def __init__(
        self, status: int, reason: str, image: int | None = None, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason
        self.image = image
        self.headers = dict(headers or {})

    def body(self) -> dict[str, object]:
        """What is sent."""
        return {"error": on_one_line(self.reason)} | ({} if self.image is None else {"image": self.image})


def full(reason: str) -> Refused:
    """A request that came while too many others wait: it may be sent again soon."""
    return Refused(503, f"{reason}: send it again in a second", headers={"Retry-After": "1"})
