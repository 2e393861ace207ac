"""Questions of the look-ahead test that got an exception for an answer: nothing was compared there, which is said."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from lockstep.validation.other_future import Course

if TYPE_CHECKING:
    from lockstep.validation.birth import Unanswered

_CUT: Final = "later bars are taken away"
_COURSES: Final = {
    Course.WALK: "others wander",
    Course.FALL: "others fall",
    Course.RISE: "others rise",
    Course.SWING: "others swing",
    Course.CALM: "others stand still",
}


class Silences:
    """Counts of questions and exceptions, by what was put in place of the later bars."""

    def __init__(self) -> None:
        self._questions: dict[str, list[Unanswered | None]] = {}

    def count(self, course: Course | None, error: Unanswered | None = None) -> None:
        """One question about later bars that are taken away (None) or follow a course, and what was raised."""
        self._questions.setdefault(_CUT if course is None else _COURSES[course], []).append(error)

    def note(self, name: str) -> str | None:
        """What was not asked and why, a sentence; None where every question was answered."""
        errors = [error for questions in self._questions.values() for error in questions if error is not None]
        if not errors:
            return None
        asked = sum(map(len, self._questions.values()))
        parts = [
            f"{failed} of {len(questions)} where {way}"
            for way, questions in self._questions.items()
            if (failed := sum(error is not None for error in questions))
        ]
        return (
            f"{name} raised an exception at {len(errors)} of {asked} questions, so the look-ahead test compared "
            f"nothing there: {', '.join(parts)}. The first: {errors[0]}"
        )
