cwlVersion: v1.2
class: Workflow
requirements: {InplaceUpdateRequirement: {inplaceUpdate: true}}
inputs: {file: File}
outputs: {result: {type: File, outputSource: second/same}}
steps:
  first: {run: in-place-tool.cwl, in: {file: file}, out: [same]}
  second: {run: in-place-tool.cwl, in: {file: first/same}, out: [same]}
