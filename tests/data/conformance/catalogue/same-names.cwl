cwlVersion: v1.2
class: Workflow
requirements: {ScatterFeatureRequirement: {}}
inputs: {texts: "string[]"}
outputs: {all: {type: "File[]", outputSource: each/said}}
steps:
  each: {run: echo.cwl, scatter: text, in: {text: texts}, out: [said]}
