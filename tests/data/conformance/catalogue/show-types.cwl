cwlVersion: v1.2
class: ExpressionTool
label: Every plain type
doc: [One line., Another line.]
intent: [http://example.org/show]
requirements: {InlineJavascriptRequirement: {}}
inputs:
  - {id: flag, type: boolean, default: true}
  - {id: small, type: int, default: 7, label: A number, doc: [first, second]}
  - {id: large, type: long, default: 3000000000}
  - {id: single, type: float, default: 0.25}
  - {id: precise, type: double, default: 1.0e-7}
  - {id: words, type: string, default: ""}
  - {id: maybe, type: "int?"}
  - {id: nothing, type: "null"}
  - {id: anything, type: Any, default: {again: true}}
  - {id: defaulted_null, type: [string, "null"], default: null}
outputs: {all: Any}
expression: "${ return {all: inputs}; }"
