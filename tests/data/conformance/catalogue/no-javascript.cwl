cwlVersion: v1.2
class: CommandLineTool
inputs: {text: string, big: long}
arguments: [printf, "%s", "$(inputs.text) $(inputs.big) $(inputs['text']) \\$(literal)"]
stdout: $(inputs.big).txt
outputs: {out: stdout}
