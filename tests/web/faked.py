"""A service that is none: it answers as it is told to, and keeps what it was asked."""

import email
import email.policy

import httpx

from triune.web.connections import Connections
from triune.web.sending import Sender, sender

URL = "http://service.example"


class Faked:
    """Takes requests in place of a service; each answer is a response, an exception, or makes one of the request."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.asked = []

    def __call__(self, request):
        request.read()
        self.asked.append(request)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        answer = answer(request) if callable(answer) else answer
        if isinstance(answer, Exception):
            raise answer
        return answer

    def sender(self, retries=3, token=None, url=URL, **more) -> Sender:
        made = sender(url, token, 5.0, retries)
        usual = made.connections.here()
        headers, base = usual.headers, usual.base_url
        usual.close()
        http = httpx.Client(base_url=base, headers=headers, transport=httpx.MockTransport(self), **more)
        return Sender(Connections(lambda: http), made.url, made.retries)


def form_of(request):
    """The parts of a form: field, name of the file or none, content."""
    head = f"Content-Type: {request.headers['content-type']}\r\n\r\n".encode()
    message = email.message_from_bytes(head + request.content, policy=email.policy.HTTP)
    return [
        (part.get_param("name", header="content-disposition"), part.get_filename(), part.get_payload(decode=True))
        for part in message.iter_parts()
    ]


def said(status=200, headers=None, **content):
    """An answer in JSON."""
    return httpx.Response(status, json=content, headers=headers)
