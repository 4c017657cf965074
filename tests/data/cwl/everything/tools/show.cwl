cwlVersion: v1.2
class: ExpressionTool
requirements: {InlineJavascriptRequirement: {}}
inputs: {values: Any, files: Any, count: int, ready: int}
outputs: {shown: string}
expression: |
  ${
    function short(value) {
      if (Array.isArray(value)) return value.map(short);
      if (value && value["class"]) return value.basename + (value.secondaryFiles || []).map(function (f) { return "+" + f.basename; }).join("");
      if (value && typeof value == "object") { var r = {}; Object.keys(value).forEach(function (k) { r[k] = short(value[k]); }); return r; }
      return value;
    }
    return {"shown": JSON.stringify([short(inputs.values), short(inputs.files), inputs.count])};
  }
