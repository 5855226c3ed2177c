package loop

import "testing"

func TestAddress(t *testing.T) {
	for in, want := range map[string]string{"10.8.0.5": "127.8.0.5", "10.128.0.2": "127.128.0.2", "127.0.0.1": "127.0.0.1", "110.1.2.3": "110.1.2.3"} {
		if got := Address(in); got != want {
			t.Errorf("Address(%q) = %q, want %q", in, got, want)
		}
	}
}
