cwlVersion: v1.2
class: Workflow
requirements: {ScatterFeatureRequirement: {}}
inputs: {codes: "int[]"}
outputs: []
steps:
  work:
    run:
      class: CommandLineTool
      baseCommand: [sh, -c, 'exit "$0"']
      inputs: {code: {type: int, inputBinding: {position: 1}}}
      outputs: []
    scatter: code
    in: {code: codes}
    out: []
