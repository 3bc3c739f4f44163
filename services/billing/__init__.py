"""billing: holds, settles and releases credits; prices usage; keeps the ledger."""
