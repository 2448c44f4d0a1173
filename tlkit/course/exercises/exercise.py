"""What an exercise is: what it takes, which mistakes it knows, what its right answer shows."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from tlkit.course.exercises.expected import Expected, Unexpected, Unfinished
from tlkit.errors import TlkitError


@dataclass(frozen=True)
class Mistake:
    """A way to be wrong that is worth a sentence of its own.

    Attributes:
        what: the mistake, as a teacher would name it.
        told: what the learner is told: what is wrong, never the answer.
        when: of the answer (or what `measure` made of it) and the facts of the lesson: was it made?
    """

    what: str
    told: str
    when: Callable[..., Any]


@dataclass(frozen=True)
class Exercise:
    """A task of a lesson with its checks.

    Attributes:
        name: the lesson and the number within it, such as `"02.2"`.
        takes: what an answer is; anything else is wrong, and told why.
        hint: the first step, without the answer.
        shows: what the right answer shows.
        mistakes: in the order of checking; an answer is right where none was made.
        measure: of the answer and the facts; makes what the mistakes look at, such as a trained accuracy.
    """

    name: str
    takes: Expected
    hint: str
    shows: str
    mistakes: Sequence[Mistake]
    measure: Callable[..., Any] | None = None

    def fault(self, answer: Any, facts: dict[str, Any]) -> str:
        """Return what is wrong with an answer, `""` if nothing is.

        Args:
            answer: of the learner; not None.
            facts: what the lesson computed and the checks need, by name.

        Raises:
            TlkitError: a fact is missing or unknown.
            Unfinished: the answer is a function that returns None.
        """
        try:
            answer = self.takes.accept(answer)
        except Unexpected as error:
            return f"Expected {self.takes.description}, got {error}."
        try:
            if self.measure is not None:
                answer = self.measure(answer, **facts)
            return next((each.told for each in self.mistakes if each.when(answer, **facts)), "")
        except Unfinished:
            raise
        except Exception as error:  # a function of the learner's, or a fact that this check does not know
            self.refuse_other_facts(facts)
            return f"Your answer could not be tried: it raised {type(error).__name__}: {error}"

    def refuse_other_facts(self, facts: dict[str, Any]) -> None:
        """Raise if the facts are not those that the checks take."""
        code = (self.measure or self.mistakes[0].when).__code__
        wanted = set(code.co_varnames[1 : code.co_argcount])
        if wanted != set(facts):
            raise TlkitError(
                f"The check of {self.name} takes {', '.join(sorted(wanted)) or 'the answer alone'}, got "
                f"{', '.join(sorted(facts)) or 'the answer alone'}. Copy the call from the lesson."
            )
