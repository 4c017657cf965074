cwlVersion: v1.2
class: Workflow
requirements: [{class: MultipleInputFeatureRequirement}, {class: InlineJavascriptRequirement}, {class: ScatterFeatureRequirement}]
inputs: {left: boolean, right: boolean, ns: {type: "int[]", default: [1, 2, 3]}}
outputs:
  first: {type: string, outputSource: [left/out, right/out], pickValue: first_non_null}
  all: {type: "string[]", outputSource: [left/out, right/out], pickValue: all_non_null}
  only: {type: "string?", outputSource: only/out}
  odd: {type: {type: array, items: ["null", string]}, outputSource: odd/out}
steps:
  left: {run: &say {class: ExpressionTool, inputs: {text: string}, outputs: {out: string}, expression: "$({out: inputs.text})"}, when: $(inputs.go), in: {go: left, text: {default: L}}, out: [out]}
  right: {run: *say, when: $(inputs.go), in: {go: right, text: {default: R}}, out: [out]}
  only: {run: *say, when: "$(!inputs.go)", in: {go: left, text: {default: O}}, out: [out]}
  odd: {run: *say, when: $(inputs.n % 2 == 1), scatter: n, in: {n: ns, text: {default: odd}}, out: [out]}
