cwlVersion: v1.2
class: CommandLineTool
doc: As shell.cwl, without the JavaScript, which takes time to start.
baseCommand: [sh, -c]
inputs:
  script: {type: string, inputBinding: {position: 1}}
outputs:
  files:
    type: File[]
    outputBinding: {glob: "*.txt"}
