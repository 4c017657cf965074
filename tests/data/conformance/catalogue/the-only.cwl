cwlVersion: v1.2
class: Workflow
requirements: [{class: MultipleInputFeatureRequirement}]
inputs: {a: "string?", b: "string?"}
outputs: {one: {type: string, outputSource: [a, b], pickValue: the_only_non_null}}
steps: []
