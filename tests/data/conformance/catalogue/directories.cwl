cwlVersion: v1.2
class: CommandLineTool
requirements: {InlineJavascriptRequirement: {}, LoadListingRequirement: {loadListing: deep_listing}}
inputs:
  tree: Directory
  shallow: {type: "Directory?", loadListing: shallow_listing}
baseCommand: [sh, -c]
arguments: ["mkdir -p out/sub/empty; cp -r \"$0\"/. out/sub; ln -s sub/x out/link; printf '' > out/zero", $(inputs.tree.path)]
outputs:
  out: {type: Directory, outputBinding: {glob: out}}
  everything: {type: "Directory[]", outputBinding: {glob: "o*"}}
  names:
    type: string[]
    outputBinding: {outputEval: "$(inputs.tree.listing.map(function (f) { return f.basename; }).sort())"}
  whole: {type: Directory, outputBinding: {glob: .}}
