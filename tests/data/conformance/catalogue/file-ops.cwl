cwlVersion: v1.2
class: CommandLineTool
inputs:
  given: {type: File, streamable: true, loadContents: true}
  more: {type: "File[]", default: []}
stdin: $(inputs.given.path)
stdout: out-$(inputs.given.nameroot).txt
stderr: err.txt
requirements: {ShellCommandRequirement: {}, InlineJavascriptRequirement: {}}
arguments:
  - {valueFrom: "tee seen.txt; echo problem >&2; printf %s", shellQuote: false}
  - {valueFrom: "a b & $(inputs.more.length)"}
outputs:
  out: stdout
  err: stderr
  seen: {type: File, outputBinding: {glob: [nothing, seen.txt]}}
  text: {type: string, outputBinding: {outputEval: $(inputs.given.contents)}}
  size: {type: int, outputBinding: {outputEval: $(inputs.given.size)}}
