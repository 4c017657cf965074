cwlVersion: v1.2
class: Workflow
requirements: [{class: MultipleInputFeatureRequirement}, {class: InlineJavascriptRequirement}, {class: StepInputExpressionRequirement}]
inputs: {a: "int[]", b: "int[]", one: int}
outputs:
  nested: {type: Any, outputSource: nested/out}
  flat: {type: Any, outputSource: flat/out}
  direct: {type: {type: array, items: {type: array, items: int}}, outputSource: [a, b], linkMerge: merge_nested}
  computed: {type: Any, outputSource: computed/out}
steps:
  nested: {run: &id {class: ExpressionTool, inputs: {x: Any}, outputs: {out: Any}, expression: "$({out: inputs.x})"}, in: {x: {source: [a, b], linkMerge: merge_nested}}, out: [out]}
  flat: {run: *id, in: {x: {source: [a, one, b], linkMerge: merge_flattened}}, out: [out]}
  computed: {run: *id, in: {y: one, x: {source: a, valueFrom: "$(self.length + inputs.y)"}}, out: [out]}
