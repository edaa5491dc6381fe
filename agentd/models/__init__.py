"""Who answers: mocks, OpenAI-compatible servers directly, everybody else through litellm."""
