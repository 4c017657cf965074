cwlVersion: v1.2
class: Workflow
requirements: {ScatterFeatureRequirement: {}, InlineJavascriptRequirement: {}, StepInputExpressionRequirement: {}}
inputs: {xs: "string[]", ys: "string[]"}
outputs:
  dot: {type: "string[]", outputSource: dot/both}
  flat: {type: "string[]", outputSource: flat/both}
  nested: {type: {type: array, items: {type: array, items: string}}, outputSource: nested/both}
steps:
  dot: {run: &join {class: ExpressionTool, inputs: {x: string, y: string}, outputs: {both: string}, expression: "$({both: inputs.x + inputs.y})"}, scatter: [x, y], scatterMethod: dotproduct, in: {x: xs, y: ys}, out: [both]}
  flat: {run: *join, scatter: [x, y], scatterMethod: flat_crossproduct, in: {x: xs, y: ys}, out: [both]}
  nested: {run: *join, scatter: [x, y], scatterMethod: nested_crossproduct, in: {x: xs, y: {source: ys}}, out: [both]}
