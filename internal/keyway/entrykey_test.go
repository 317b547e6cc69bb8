package keyway

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestMergeKeys(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	key := func(n int, left time.Duration) EntryKey {
		return EntryKey{Line: fmt.Sprintf("ssh-ed25519 K%d c", n), Until: now.Add(left)}
	}
	merged := MergeKeys([]EntryKey{key(1, time.Hour), key(2, -time.Second), key(3, time.Hour)},
		[]EntryKey{key(1, 2*time.Hour), key(4, 1000*time.Hour), {Line: "ssh-ed25519 K5"}, key(6, -time.Hour)}, now)
	want := map[string]time.Time{"K1": now.Add(2 * time.Hour), "K3": now.Add(time.Hour), "K4": now.Add(MaxEntry), "K5": now.Add(MaxEntry)}
	for _, k := range merged {
		if name := strings.Fields(k.Line)[1]; !k.Until.Equal(want[name]) {
			t.Errorf("%s until %v, want %v", name, k.Until, want[name])
		}
	}
	if len(merged) != len(want) {
		t.Errorf("got %v", merged)
	}
	var many []EntryKey
	for i := range 3 * maxSentKeys {
		many = MergeKeys(many, []EntryKey{key(i, time.Hour)}, now)
	}
	if len(many) != maxSentKeys || many[0] != key(3*maxSentKeys-1, time.Hour) {
		t.Errorf("%d keys are kept, the first is %v", len(many), many[0])
	}
	file := string(KeysFile([]string{"ssh-ed25519 K1 made"}, merged))
	if strings.Count(file, " K1 ") != 1 || !strings.HasPrefix(file, "ssh-ed25519 K1 made\nexpiry-time=\"20260331120000Z\" ssh-ed25519 K4") {
		t.Errorf("the file is\n%s", file)
	}
}

func TestKeysThatAreSentAreKeys(t *testing.T) {
	for _, line := range []string{"", "a\nb", "a\x00", ` ssh-ed25519 A`, `command="x" ssh-ed25519 A`, "#ssh-ed25519 A", `restrict,pty ssh-ed25519 A`, "ssh-ed25519", "restrict ssh-ed25519 A"} {
		if err := ValidateKeys([]EntryKey{{Line: line}}); !Is(err, Usage) {
			t.Errorf("%q: %v", line, err)
		}
	}
	if err := ValidateKeys(nil); err == nil {
		t.Error("no keys at all are taken")
	}
	many := slices.Repeat([]EntryKey{{Line: "ssh-ed25519 AAAA a"}}, maxSentKeys+1)
	if ValidateKeys(many) == nil || ValidateKeys(many[1:]) != nil {
		t.Error("not as many are taken as there may be")
	}
	if err := ValidateKeys([]EntryKey{{Line: "sk-ssh-ed25519@openssh.com AAAA a b"}}); err != nil {
		t.Error(err)
	}
}
