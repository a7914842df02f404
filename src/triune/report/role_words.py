"""Who asked and who answered in retrieval, in words."""

from triune.evaluation.results import RetrievalResult


def roles_in_words(found: RetrievalResult) -> str:
    """One phrase without a stop at its end; the empty string where every item was both."""
    roles = found.roles
    if roles is None:
        return ""
    said = f"{roles.queries:,} queries (is_query) in a gallery of {roles.gallery:,} (is_gallery)"
    if roles.distractors:
        said += f", {roles.distractors:,} of them nobody's match"
    if roles.same_camera:
        said += "; items of the same identity by the same camera are left out"
    if found.left_out:
        said += f"; {found.left_out:,} queries without a match are not counted"
    return said
