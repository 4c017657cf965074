cwlVersion: v1.2
class: Workflow
inputs: {a: int}
outputs: {b: {type: int, outputSource: later/b}}
steps:
  later: {run: operation.cwl, in: {a: a}, out: [b]}
