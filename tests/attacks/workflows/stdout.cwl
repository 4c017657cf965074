cwlVersion: v1.2
class: CommandLineTool
doc: A user says where what a tool prints goes to.
baseCommand: [echo, overwritten]
inputs: {name: string}
outputs: {text: stdout}
stdout: $(inputs.name)
