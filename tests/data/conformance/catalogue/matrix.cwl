cwlVersion: v1.2
class: ExpressionTool
requirements: [{class: InlineJavascriptRequirement}]
inputs:
  m: {type: {type: array, items: {type: array, items: int}}}
  optional: string[]?
  holes: {type: {type: array, items: ["null", string]}, default: []}
outputs: {total: int, rows: "int[]", holes: Any}
expression: >
  ${
    var rows = inputs.m.map(function (r) { return r.reduce(function (a, b) { return a + b; }, 0); });
    return {rows: rows, total: rows.reduce(function (a, b) { return a + b; }, 0), holes: inputs.holes};
  }
