//! What is known around a transaction: merchant directory, user history.
