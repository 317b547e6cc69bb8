package gpu

import (
	"context"
	"testing"

	"keyway/internal/keyway"
)

// A workspace whose processes this machine does not see is known by its engine alone.
// If it comes while another asks, it is not overlooked for what the engine told before.
func TestToldByTheEngineAlone(t *testing.T) {
	w := newWorld(t, 1, 1)
	asked := 0
	told := func(context.Context) ([]Holding, error) {
		if asked++; asked == 1 {
			return nil, nil
		}
		return []Holding{{Holder: Holder{Owner: "p1", Workspace: "first"}, UUIDs: []string{"GPU-0"}}}, nil
	}
	m := &maker{world: w}
	grant, err := m.place().Take(t.Context(), Request{Holder: Holder{Owner: "p2"}, GPUs: keyway.GPUs{Count: 1}, Told: told}, nil)
	if grant != nil || !keyway.Is(err, keyway.NoGPU) {
		t.Errorf("%+v, %v", grant, err)
	}
}
