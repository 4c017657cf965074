cwlVersion: v1.2
$graph:
  - {class: ExpressionTool, id: one, requirements: {InlineJavascriptRequirement: {}}, inputs: {n: int}, outputs: {m: int}, expression: "$({m: inputs.n + 1})"}
  - class: Workflow
    id: pipeline
    inputs: {n: int}
    outputs: {m: {type: int, outputSource: two/m}}
    steps:
      one: {run: "#one", in: {n: n}, out: [m]}
      two: {run: "#one", in: {n: one/m}, out: [m]}
