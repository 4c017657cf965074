cwlVersion: v1.1
$graph:
  - class: Workflow
    id: main
    inputs: {message: string}
    outputs: {out: {type: File, outputSource: say/out}}
    steps:
      - {id: say, run: "#echo", in: {message: message}, out: [out]}
  - class: CommandLineTool
    id: echo
    baseCommand: echo
    inputs: {message: {type: string, inputBinding: {}}}
    outputs: {out: stdout}
