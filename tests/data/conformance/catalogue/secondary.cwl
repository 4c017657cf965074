cwlVersion: v1.2
class: CommandLineTool
requirements: [{class: InlineJavascriptRequirement}, {class: ShellCommandRequirement}]
inputs:
  reads:
    type: File
    secondaryFiles:
      - .bai
      - ^.txt
      - {pattern: .opt, required: false}
      - .opt2?
      - $(self.basename).expr
      - '${ return inputs.extra ? self.basename + ".extra" : []; }'
  extra: boolean
arguments:
  - shellQuote: false
    valueFrom: "ls $(inputs.reads.dirname) | grep -v /; cp $(inputs.reads.path) out.bam; echo i > out.bam.bai; echo t > out.txt"
stdout: names.txt
outputs:
  names: stdout
  result: {type: File, secondaryFiles: [.bai, ^.txt, .gone?], outputBinding: {glob: out.bam}}
