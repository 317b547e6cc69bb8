package screen

// Keyboard holds the modes that programs have set for keys.
type Keyboard struct {
	AppCursor bool  // DECCKM: cursor keys as SS3 sequences
	AppKeypad bool  // DECKPAM: the keypad as SS3 sequences
	Backspace bool  // DECBKM: the backspace key as BS, not DEL
	Newline   bool  // LNM: the return key as CR and LF
	Kitty     uint8 // flags of kitty's protocol
	OtherKeys uint8 // xterm's modifyOtherKeys
	Records   bool  // Windows' input records
	Pastes    bool  // marks around pasted text
}

// Keyboard returns the present modes.
func (s *Screen) Keyboard() Keyboard {
	return Keyboard{
		AppCursor: s.modes.on(appCursor), AppKeypad: s.modes.on(keypadMode) || s.modes.on(numericKeypad),
		Backspace: s.modes.on(backspaceKey), Newline: s.modes.on(newLine),
		Kitty: s.g.keys.current(), OtherKeys: s.modes.otherKeys, Records: s.modes.on(inputRecords),
		Pastes: s.modes.on(bracketedPaste),
	}
}

// Extended reports whether keys that make characters may come as control sequences.
func (k Keyboard) Extended() bool { return k.Kitty != 0 || k.OtherKeys != 0 || k.Records }
