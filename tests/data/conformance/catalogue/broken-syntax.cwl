cwlVersion: v1.2
class: CommandLineTool
requirements: {InlineJavascriptRequirement: {}}
inputs: []
baseCommand: echo
arguments: ["${ return 1 +; }"]
outputs: []
