"""The papers' figures, tables and claims as code: each is computed here and compared with what the paper prints."""
