cwlVersion: v1.2
class: CommandLineTool
doc: A user says which file's content is an output.
baseCommand: "true"
requirements: {InlineJavascriptRequirement: {}}
inputs: {pattern: string}
outputs:
  content: {type: string, outputBinding: {glob: $(inputs.pattern), loadContents: true, outputEval: "$(self[0].contents)"}}
