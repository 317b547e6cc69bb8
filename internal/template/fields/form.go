package fields

// Form is the set of shapes that a value may have. The zero Form permits any. A letter stands for
// each shape: s for text, i for a whole number, n for another number, b for true or false, 0 for
// null, [ for a list and { for a mapping. Where text is permitted, a variable may stand.
type Form struct {
	One  string // shapes of the value itself
	Each string // shapes of the items, if it is a list
	Of   string // shapes of the values, if it is a mapping with any fields
}

var (
	text         = Form{One: "s"}
	number       = Form{One: "nis"}
	whole        = Form{One: "is"}
	truth        = Form{One: "bs"}
	texts        = Form{One: "[", Each: "s"}
	textOrTexts  = Form{One: "s[", Each: "s"}
	words        = Form{One: "s[0", Each: "s"}
	mappings     = Form{One: "{"}
	orNothing    = Form{One: "{0"}
	pairsOrTexts = Form{One: "{[", Each: "s", Of: "sinb0"}
)
