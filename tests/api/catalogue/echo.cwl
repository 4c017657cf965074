cwlVersion: v1.2
class: Workflow
label: Echo
doc: Writes a message and counts its characters.
inputs:
  message: {type: string, doc: What to write.}
  times: {type: int, default: 1, doc: How often.}
outputs:
  text: {type: File, outputSource: write/text}
  size: {type: File, outputSource: count/size}
steps:
  write:
    in: {message: message, times: times}
    out: [text]
    run:
      class: CommandLineTool
      baseCommand: [sh, -c, 'i=0; while [ $i -lt "$1" ]; do echo "$0"; i=$((i+1)); done']
      inputs:
        message: {type: string, inputBinding: {position: 1}}
        times: {type: int, inputBinding: {position: 2}}
      outputs: {text: stdout}
      stdout: text.txt
  count:
    in: {text: write/text}
    out: [size]
    run:
      class: CommandLineTool
      baseCommand: [wc, -c]
      inputs: {text: {type: File, inputBinding: {position: 1}}}
      outputs: {size: stdout}
      stdout: size.txt
