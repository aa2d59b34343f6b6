"""Which mutants there are, and a random draw of them.

The operators are those of cosmic-ray. Left out, before anything is drawn:

* what does not compile, and what changes only type annotations, f-strings, what a `raise` or a
  `warnings.warn` is given, or `__repr__` and `__str__`;
* replacements that fail at any call, whatever the tests say: one between arithmetic and bits, one
  between a comparison of values and one of identity, a sign that becomes `+` or `~`.
"""

import ast
import random
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.mutating import mutate_code
from cosmic_ray.plugins import get_operator, operator_names

from tests.mutations.reporting import PLACES

ROOT = Path(__file__).resolve().parents[2]

_BITS = {"RShift", "LShift", "BitOr", "BitAnd", "BitXor"}
_IDENTITY = {"Is", "IsNot"}
_TEXT = {"__repr__", "__str__"}


@dataclass(frozen=True)
class Mutant:
    """One change of one place.

    Attributes:
        file: The file, relative to the checkout.
        operator: The name of the operator in cosmic-ray.
        occurrence: Which of the places in the file that the operator can change.
        line: The line of that place, from 1.
    """

    file: str
    operator: str
    occurrence: int
    line: int

    @property
    def key(self) -> tuple[str, str, int]:
        """Return what identifies it in one commit."""
        return self.file, self.operator, self.occurrence

    def source(self) -> str | None:
        """Return the text of the whole file with the change, None where there is none."""
        operator = get_operator(self.operator)()
        changed: str | None = mutate_code(text(self.file), operator, self.occurrence)
        return changed


@cache
def text(file: str) -> str:
    """Return the source of a file."""
    return (ROOT / file).read_text()


def _is_drawn_from(operator: str) -> bool:
    kind, _, change = operator.split("/")[1].partition("_")
    old, _, new = change.partition("_")
    if kind == "ReplaceBinaryOperator":
        return (old in _BITS) == (new in _BITS)
    if kind == "ReplaceComparisonOperator":
        return (old in _IDENTITY) == (new in _IDENTITY)
    if kind == "ReplaceUnaryOperator":
        return old == "Delete"
    return not get_operator(operator).arguments()


def files() -> list[str]:
    """Return the files that mutants are drawn from, relative to the checkout."""
    found = (ROOT / place for place in PLACES)
    paths = (path for place in found for path in ([place] if place.is_file() else place.rglob("*")))
    return sorted(str(path.relative_to(ROOT)) for path in paths if path.suffix == ".py")


@cache
def _mutants_of(file: str) -> list[Mutant]:
    nodes = list(ast_nodes(get_ast(text(file))))
    found = []
    for name in filter(_is_drawn_from, sorted(operator_names())):
        operator = get_operator(name)()
        places = (place for node in nodes for place in operator.mutation_positions(node))
        found += [Mutant(file, name, k, line) for k, ((line, _), _) in enumerate(places)]
    return found


class _Behaviour(ast.NodeTransformer):
    """What is left when annotations and text are taken away."""

    def visit_arg(self, node: ast.arg) -> ast.AST:
        node.annotation = None
        return node

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST:
        node.annotation = ast.Constant(None)
        return self.generic_visit(node)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        node.returns = None
        if node.name in _TEXT:
            node.body = [ast.Pass()]
        return self.generic_visit(node)

    def visit_JoinedStr(self, node: ast.JoinedStr) -> ast.AST:
        return ast.Constant("")

    def visit_Raise(self, node: ast.Raise) -> ast.AST:
        if isinstance(node.exc, ast.Call):
            node.exc.args, node.exc.keywords = [], []
        return self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> ast.AST:
        if ast.unparse(node.func) == "warnings.warn":
            node.args, node.keywords = [], []
        return self.generic_visit(node)


def behaviour(source: str) -> str:
    """Return what a source does, annotations and texts left out."""
    return ast.dump(_Behaviour().visit(ast.parse(source)))


def _counts(mutant: Mutant) -> bool:
    changed = mutant.source()
    if changed is None:
        return False
    try:
        compile(changed, mutant.file, "exec")
    except SyntaxError:
        return False
    return behaviour(changed) != behaviour(text(mutant.file))


def draw(number: int, seed: int) -> list[Mutant]:
    """Return so many mutants drawn uniformly, without replacement, from all that count."""
    order = [mutant for file in files() for mutant in _mutants_of(file)]
    random.Random(seed).shuffle(order)
    drawn: list[Mutant] = []
    for mutant in order:
        if len(drawn) == number:
            break
        if _counts(mutant):
            drawn.append(mutant)
    return drawn
