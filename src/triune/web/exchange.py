"""Lists of pictures sent to the service in parcels, and what is answered of each of them, in order."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, Generic, TypeAlias, TypeVar

from triune.errors import InputError
from triune.serving.answers import Unreadable
from triune.serving.pictures import Picture
from triune.web.parcels import Limits, Parcel, distinct_names, limits_of, packed, parcels, upload
from triune.web.sending import Refusal, Sender, Upload

if TYPE_CHECKING:
    from triune.serving.networks import Progress

Told: TypeAlias = dict[str, Any]
T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

UNREADABLE: Final = " cannot be read as an image: "
"""What stands in a message between an image's name and the reason."""


@dataclass(frozen=True)
class Question(Generic[T_co]):
    """What is asked of each of many pictures.

    Args:
        path: of the service.
        read: makes an answer, and what the pictures that it is of are called here, into an object each.
        form: what is sent beside the pictures.
    """

    path: str
    read: Callable[[Told, Sequence[str]], Sequence[T_co]]
    form: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Exchange:
    """Questions to one service.

    Args:
        sender: how requests are sent.
    """

    sender: Sender

    @cached_property
    def known(self) -> Told:
        """What the service says of itself, as far as it does not change while it runs."""
        return self.sender.json("GET", "about")

    @cached_property
    def limits(self) -> Limits:
        """What it takes in one request."""
        return self.said(limits_of)

    def said(self, read: Callable[[Told], T]) -> T:
        """A part of what the service says of itself.

        Args:
            read: takes it out.

        Raises:
            InputError: it says no such thing: it is of another version, or none of Triune.
        """
        return self.understood(read, self.known)

    def understood(self, read: Callable[[Told], T], told: Told) -> T:
        """An answer as an object.

        Args:
            read: makes it.
            told: the answer.

        Raises:
            InputError: the service is of another version, or none of Triune.
        """
        try:
            return read(told)
        except (AttributeError, IndexError, KeyError, OSError, TypeError, ValueError) as error:
            raise InputError(
                f"{self.sender.url} answers what this version of Triune does not understand "
                f"({type(error).__name__}: {error}): use the same version on both sides"
            ) from error

    def each(
        self,
        question: Question[T],
        images: Sequence[Picture],
        *,
        skip: bool = False,
        progress: "Progress | None" = None,
    ) -> list[T | Unreadable]:
        """What is answered of each picture, in order, by as many requests as are needed.

        Args:
            question: what is asked.
            images: from :func:`triune.serving.pictures.pictures`.
            skip: whether a picture that cannot be read is told in its place, and not an error.
            progress: called after each request with the numbers of images that are done and of all.

        Raises:
            InputError: a picture cannot be read, or the service refuses or cannot answer.
        """
        found: dict[int, T | Unreadable] = {}
        for parcel in parcels(images, self.limits, skip=skip):
            if parcel.unreadable is not None:
                found[parcel.places[0]] = parcel.unreadable
            else:
                found |= self._of_parcel(question, parcel, images, skip)
            if progress is not None:
                progress(len(found), len(images))
        return [found[place] for place in range(len(images))]

    def _of_parcel(
        self, question: Question[T], parcel: Parcel, images: Sequence[Picture], skip: bool
    ) -> dict[int, T | Unreadable]:
        found: dict[int, T | Unreadable] = {}
        while parcel.places:
            asked = [images[place] for place in parcel.places]
            try:
                answers = self.one(question, asked, parcel.uploads("images"))
            except Refusal as refusal:
                if not skip or refusal.image is None:
                    raise
                bad = asked[refusal.image]
                found[parcel.places[refusal.image]] = Unreadable(bad.name, reason_of(refusal, bad))
                # The service answers all or none: the others are sent again without it.
                parcel = parcel.without(refusal.image)
                continue
            return found | dict(zip(parcel.places, answers, strict=True))
        return found

    def one(self, question: Question[T], images: Sequence[Picture], files: Sequence[Upload]) -> Sequence[T]:
        """What is answered to a single request.

        Args:
            question: what is asked.
            images: that are sent, in the order of the files.
            files: theirs.

        Raises:
            Refusal: the service refuses or cannot answer; an image is named as it is called here.
            InputError: it answers what cannot be understood.
        """
        try:
            told = self.sender.json("POST", question.path, form=question.form, files=files)
        except Refusal as refusal:
            place = refusal.image
            if place is None or not 0 <= place < len(images):
                raise Refusal(str(refusal), refusal.status) from refusal
            message, sent = str(refusal), files[place][1][0]
            here = images[place].name
            message = message if here in message else message.replace(sent, here, 1)
            raise Refusal(message, refusal.status, place) from refusal
        return self.understood(lambda told: question.read(told, [each.name for each in images]), told)

    def files(self, fields: Sequence[str], images: Sequence[Picture]) -> list[Upload]:
        """The files of a single request.

        Args:
            fields: of the form, one an image.
            images: from :func:`triune.serving.pictures.pictures`.

        Raises:
            Refusal: an image cannot be sent; it is named. Or the service does not say what it takes, which is no
                image's fault.
        """
        limits, found = self.limits, []
        for place, (name, picture) in enumerate(zip(distinct_names(images), images, strict=True)):
            try:
                found.append(upload(fields[place], name, packed(picture, limits)))
            except (OSError, ValueError) as error:
                raise Refusal(f"{picture.name}{UNREADABLE}{error}", image=place) from error
        return found


def reason_of(refusal: Refusal, picture: Picture) -> str:
    """Why an image cannot be read, without its name."""
    return str(refusal).removeprefix(picture.name + UNREADABLE).removeprefix(picture.name).lstrip()
