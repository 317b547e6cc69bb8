package gpu

import (
	"context"
	"strings"
	"testing"

	"keyway/internal/keyway"
)

// lockNoting is a store that records whether its lock is held.
type lockNoting struct {
	store
	held bool
}

func (l *lockNoting) lock(ctx context.Context) (func(), error) {
	unlock, err := l.store.lock(ctx)
	l.held = err == nil
	return func() { l.held = false; unlock() }, err
}

// TestToldByTheEngineAlone checks that GPUs are not granted twice if only the engine knows their
// workspace, because this machine does not see its processes. The engine is asked once, under the
// lock, whether GPUs are granted or not.
func TestToldByTheEngineAlone(t *testing.T) {
	for _, taken := range []bool{true, false} {
		place := (&maker{world: newWorld(t, 1, 1)}).place()
		noting := &lockNoting{store: place.store}
		place.store = noting
		asked := 0
		told := func(context.Context) ([]Holding, error) {
			if asked++; !noting.held {
				t.Error("the engine is asked while others may get GPUs")
			}
			if !taken {
				return nil, nil
			}
			return []Holding{{Holder: Holder{Owner: "p1", Workspace: "first"}, UUIDs: []string{"GPU-0"}}}, nil
		}
		grant, err := place.Take(t.Context(), Request{Holder: Holder{Owner: "p2"}, GPUs: keyway.GPUs{Count: 1}, Told: told}, nil)
		if (grant == nil) != taken || keyway.Is(err, keyway.NoGPU) != taken {
			t.Errorf("taken %v: %+v, %v", taken, grant, err)
		}
		if taken && (err == nil || !strings.Contains(err.Error(), "first")) {
			t.Errorf("the refusal does not name the holder: %v", err)
		}
		if asked != 1 {
			t.Errorf("taken %v: the engine is asked %d times", taken, asked)
		}
		grant.Close()
	}
}
