cwlVersion: v1.2
class: Workflow
inputs:
  text: string
outputs:
  result:
    type: File
    outputSource: count/result
steps:
  write:
    in: {text: text}
    out: [file]
    run:
      class: CommandLineTool
      baseCommand: [sh, -c, 'echo "writing $0" >&2; printf %s "$0"']
      inputs:
        text: {type: string, inputBinding: {position: 1}}
      outputs:
        file: stdout
  count:
    in: {file: write/file}
    out: [result]
    run:
      class: CommandLineTool
      baseCommand: [wc, -c]
      stdin: $(inputs.file.path)
      stdout: count.txt
      inputs:
        file: File
      outputs:
        result: stdout
