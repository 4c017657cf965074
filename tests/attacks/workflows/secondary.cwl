cwlVersion: v1.2
class: CommandLineTool
doc: A user says what lies beside an output.
baseCommand: [sh, -c, "echo harmless > harmless.txt"]
requirements: {InlineJavascriptRequirement: {}}
inputs: {pattern: string}
outputs:
  file:
    type: File
    outputBinding: {glob: harmless.txt}
    secondaryFiles: [{pattern: $(inputs.pattern), required: true}]
