"""Between a host of one era of MCP and an upstream of the other: what each says, in the other's words."""
