cwlVersion: v1.2
$graph:
  - class: CommandLineTool
    id: count
    requirements: {InlineJavascriptRequirement: {}}
    baseCommand: [wc, -l]
    stdin: $(inputs.file.path)
    stdout: count.txt
    inputs: {file: File}
    outputs:
      count: {type: int, outputBinding: {glob: count.txt, loadContents: true, outputEval: "$(parseInt(self[0].contents))"}}
  - class: ExpressionTool
    id: pass
    requirements: {InlineJavascriptRequirement: {}}
    inputs: {given: int}
    outputs: {count: int}
    expression: "$({count: inputs.given})"
