cwlVersion: v1.2
class: ExpressionTool
requirements: {InlineJavascriptRequirement: {}}
inputs:
  kind: {type: {type: enum, symbols: ["C++", "1.5", two words, "true"]}}
outputs: {kind: string}
expression: "$({kind: inputs.kind})"
