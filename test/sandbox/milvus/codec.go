package milvus

import (
	"fmt"

	"google.golang.org/grpc/encoding"
	protocodec "google.golang.org/grpc/encoding/proto"
	"google.golang.org/grpc/mem"
)

// frame is a message passed on without looking into it.
type frame struct{ data []byte }

// rawCodec passes frames as they are and everything else as protobuf.
type rawCodec struct{}

func (rawCodec) Name() string { return "proto" }

func (rawCodec) Marshal(v any) (mem.BufferSlice, error) {
	if f, ok := v.(*frame); ok {
		return mem.BufferSlice{mem.SliceBuffer(f.data)}, nil
	}
	return protobuf().Marshal(v)
}

func (rawCodec) Unmarshal(data mem.BufferSlice, v any) error {
	if f, ok := v.(*frame); ok {
		f.data = data.Materialize()
		return nil
	}
	return protobuf().Unmarshal(data, v)
}

func protobuf() encoding.CodecV2 {
	c := encoding.GetCodecV2(protocodec.Name)
	if c == nil {
		panic(fmt.Sprintf("no codec %q", protocodec.Name))
	}
	return c
}
