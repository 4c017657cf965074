cwlVersion: v1.2
class: CommandLineTool

label: Count words
doc: Counts the words of one text file.

baseCommand: python3

inputs:
  script:
    type: File
    default:
      class: File
      location: count.py
    inputBinding:
      position: 1
  text:
    type: File
    doc: The text, in UTF-8.
    inputBinding:
      position: 2

stdout: $(inputs.text.nameroot).json

outputs:
  counts:
    type: stdout
    doc: JSON with the name of the file and the number of each word.
