"""Arithmetic, which models are bad at."""

import ast
import operator

OPERATORS = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.USub: operator.neg,
}


def calculate(formula: str) -> float:
    """The value of a formula.

    Args:
        formula: Numbers, + - * / and brackets, for example "(480000 - 240000) / 0.25".
    """
    return round(_value(ast.parse(formula, mode="eval").body), 2)


def _value(node: ast.AST) -> float:
    match node:
        case ast.Constant(value=int() | float() as number):
            return number
        case ast.BinOp(left, operation, right) if type(operation) in OPERATORS:
            return OPERATORS[type(operation)](_value(left), _value(right))
        case ast.UnaryOp(ast.USub() as operation, operand):
            return OPERATORS[type(operation)](_value(operand))
    raise ValueError(f"only numbers, + - * / and brackets, not {ast.unparse(node)}")
